package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"weightwarden/internal/api"
	"weightwarden/internal/cli"
)

type loginFlags struct {
	ca, pin, tokenFile string
	system             bool
}

func loginCommand() cli.Command {
	return cli.Command{
		Name:    "login",
		Args:    "URL",
		Summary: "keep a server's address, certificate authority and an API token for further commands",
		Help: `The token comes from --token-file, WEIGHTWARDEN_TOKEN, or the first line of standard input. The
server's CA is taken from --ca (the server keeps it as DATA/ca.pem), or from the server itself and
confirmed by its pin: fpserver prints the pin when it starts.`,
		Flags: func(fs *flag.FlagSet) func(context.Context, *cli.Env, []string) error {
			f := &loginFlags{}
			fs.StringVar(&f.ca, "ca", "", "`FILE` with the server's CA certificate, PEM")
			fs.StringVar(&f.pin, "ca-pin", "", "`PIN` that the server's CA must have, 32 hex digits")
			fs.StringVar(&f.tokenFile, "token-file", "", "`FILE` with the API token")
			fs.BoolVar(&f.system, "system-ca", false, "trust the system's certificate authorities instead")
			return func(ctx context.Context, env *cli.Env, args []string) error {
				if len(args) != 1 {
					return cli.Usagef("one URL is wanted")
				}
				return login(ctx, env, f, args[0])
			}
		},
	}
}

func login(ctx context.Context, env *cli.Env, f *loginFlags, server string) error {
	in := bufio.NewReader(env.Stdin)
	set := &settings{Server: server}
	if !f.system {
		ca, err := f.trust(ctx, env, in, server)
		if err != nil {
			return err
		}
		set.CA = ca
	}
	var err error
	if set.Token, err = f.token(env, in); err != nil {
		return err
	}
	c, err := newClient(set)
	if err != nil {
		return err
	}
	var who api.WhoAmI
	if err := c.call(ctx, http.MethodGet, api.PathWhoAmI, nil, nil, &who); err != nil {
		return err
	}
	path, err := set.save(env)
	if err != nil {
		return err
	}
	if env.JSON {
		return cli.WriteJSON(env.Stdout, who)
	}
	fmt.Fprintf(env.Stdout, "logged in to %s as %s (%s)\nkept in %s\n", server, cli.PrintableLine(who.Name), strings.Join(who.Roles, ", "), path)
	return nil
}

func (f *loginFlags) token(env *cli.Env, in *bufio.Reader) (string, error) {
	if f.tokenFile != "" {
		b, err := os.ReadFile(f.tokenFile)
		return strings.TrimSpace(string(b)), err
	}
	if t := env.Getenv("WEIGHTWARDEN_TOKEN"); t != "" {
		return t, nil
	}
	if file, ok := env.Stdin.(*os.File); ok && isTerminal(file) {
		fmt.Fprint(env.Stderr, "API token: ")
	}
	line, err := in.ReadString('\n')
	if line = strings.TrimSpace(line); line == "" {
		return "", cli.Hint(errors.Join(errors.New("no API token"), eofIsFine(err)), "give it with --token-file, WEIGHTWARDEN_TOKEN or standard input")
	}
	return line, nil
}

func eofIsFine(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && f.Name() != os.DevNull
}

// trust returns the server's CA as PEM once something vouches for it: a file, a
// pin, or the person at the terminal.
func (f *loginFlags) trust(ctx context.Context, env *cli.Env, in *bufio.Reader, server string) (string, error) {
	if f.ca != "" {
		b, err := os.ReadFile(f.ca)
		return string(b), err
	}
	ca, err := presentedCA(ctx, server)
	if err != nil {
		return "", err
	}
	pin := api.PinOf(ca).String()
	file, terminal := env.Stdin.(*os.File)
	switch {
	case f.pin != "":
		if f.pin != pin {
			return "", fmt.Errorf("the server's CA has the pin %s, not %.64q: this is another server, or somebody sits in between", pin, f.pin)
		}
	case terminal && isTerminal(file):
		fmt.Fprintf(env.Stderr, "The server's certificate authority has the pin %s.\nDoes fpserver print the same (CA pin: ...)? [yes/no] ", pin)
		answer, err := in.ReadString('\n')
		if err != nil || strings.TrimSpace(answer) != "yes" {
			return "", errors.New("not confirmed: nothing was kept")
		}
	default:
		return "", cli.Hint(fmt.Errorf("nothing vouches for the server's CA (pin %s)", pin), "give --ca FILE or --ca-pin PIN; fpserver prints the pin and keeps the certificate as DATA/ca.pem")
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw})), nil
}

// presentedCA connects without trust and returns the CA at the end of the chain
// that the server shows. The caller must have it confirmed.
func presentedCA(ctx context.Context, server string) (*x509.Certificate, error) {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, cli.Hint(fmt.Errorf("server %.200q is no https URL", server), "write it like https://warden.example:8443")
	}
	host := u.Host
	if u.Port() == "" {
		host += ":443"
	}
	// Nothing is sent on this connection; it only shows the certificates.
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}}
	conn, err := d.DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	chain := conn.(*tls.Conn).ConnectionState().PeerCertificates
	last := chain[len(chain)-1]
	if !last.IsCA {
		return nil, cli.Hint(errors.New("the server shows no CA of its own"), "if it has a public certificate, use --system-ca")
	}
	return last, nil
}

func whoAmICommand() cli.Command {
	return simple("whoami", "show which token is in use and what it may do", func(ctx context.Context, env *cli.Env, c *client) error {
		var who api.WhoAmI
		if err := c.call(ctx, http.MethodGet, api.PathWhoAmI, nil, nil, &who); err != nil {
			return err
		}
		if env.JSON {
			return cli.WriteJSON(env.Stdout, who)
		}
		fmt.Fprintf(env.Stdout, "%s (%s) at %s, server %s, CA pin %s\nkey of snapshots and evidence: %s\n", cli.PrintableLine(who.Name), strings.Join(who.Roles, ", "), c.base, who.Server, who.CAPin, who.SnapshotKey)
		return nil
	})
}

// simple is a command without flags and operands.
func simple(name, summary string, run func(context.Context, *cli.Env, *client) error) cli.Command {
	return cli.Command{Name: name, Summary: summary, Flags: func(*flag.FlagSet) func(context.Context, *cli.Env, []string) error {
		return func(ctx context.Context, env *cli.Env, args []string) error {
			if len(args) > 0 {
				return cli.Usagef("no operand is wanted")
			}
			c, err := connect(env)
			if err != nil {
				return err
			}
			return run(ctx, env, c)
		}
	}}
}
