package cli

import (
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
)

// completeWord is the command that shell scripts ask for candidates; it is in no
// list.
const completeWord = "__complete"

// The scripts hand over the words typed so far and let the program answer, so that
// they never lag behind its commands. %[1]s is the program's name.
const (
	bashScript = `_%[1]s() {
	local IFS=$'\n'
	COMPREPLY=($(%[1]s ` + completeWord + ` "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -o bashdefault -F _%[1]s %[1]s
`
	zshScript = `#compdef %[1]s
_%[1]s() {
	local -a found
	found=("${(@f)$(%[1]s ` + completeWord + ` "${(@)words[2,CURRENT]}" 2>/dev/null)}")
	if [[ -n "${found[1]}" ]]; then compadd -- "${found[@]}"; else _files; fi
}
compdef _%[1]s %[1]s
`
	fishScript = `function __%[1]s_complete
	set -l words (commandline -opc) (commandline -ct)
	%[1]s ` + completeWord + ` $words[2..-1] 2>/dev/null
end
complete -c %[1]s -a '(__%[1]s_complete)'
`
)

// completion prints the script of a shell.
func (p *Program) completion(env *Env, args []string) int {
	scripts := map[string]string{"bash": bashScript, "zsh": zshScript, "fish": fishScript}
	if len(args) != 1 || scripts[args[0]] == "" {
		return p.fail(env, nil, Hint(Usagef("completion for which shell: bash, zsh or fish?"),
			"for bash: %s completion bash > ~/.local/share/bash-completion/completions/%s", p.Name, p.Name))
	}
	fmt.Fprintf(env.Stdout, scripts[args[0]], p.Name)
	return ExitOK
}

// complete prints what may follow words, of which the last one is being typed.
// Nothing printed means a file.
func (p *Program) complete(w io.Writer, words []string) {
	if len(words) == 0 {
		words = []string{""}
	}
	typed, current := words[:len(words)-1], words[len(words)-1]
	var out []string
	offer := func(word string) {
		if strings.HasPrefix(word, current) && !slices.Contains(out, word) {
			out = append(out, word)
		}
	}
	for _, c := range p.Commands {
		name := strings.Fields(c.Name)
		if len(name) > len(typed) && slices.Equal(name[:len(typed)], typed) {
			offer(name[len(typed)])
		}
	}
	if len(typed) == 0 {
		for _, word := range []string{"help", "version", "completion", "man"} {
			offer(word)
		}
	}
	if cmd, _ := p.find(typed); cmd != nil && strings.HasPrefix(current, "-") {
		p.flagsOf(cmd).VisitAll(func(f *flag.Flag) { offer("--" + f.Name) })
	}
	for _, word := range out {
		fmt.Fprintln(w, word)
	}
}
