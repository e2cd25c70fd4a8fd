package watch

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTableOfWays holds the table of docs/agent.md to the tests: every row names
// tests that exist or is a documented gap, and every way that is tried is in it.
func TestTableOfWays(t *testing.T) {
	doc, err := os.ReadFile("../../docs/agent.md")
	if err != nil {
		t.Fatal(err)
	}
	sources := testSources(t)
	named := map[string]bool{}
	rows := tableRows(string(doc), "| way | caught by | test |")
	for _, row := range rows {
		tests := regexp.MustCompile("`(Test[^`]+)`").FindAllStringSubmatch(row[2], -1)
		if len(tests) == 0 && row[2] != "documented gap" {
			t.Errorf("%q names no test and is no documented gap", row[0])
		}
		for _, m := range tests {
			named[m[1]] = true
			top, sub, _ := strings.Cut(m[1], "/")
			if !strings.Contains(sources, "\nfunc "+top+"(t *testing.T) {") {
				t.Errorf("%q names %s, which does not exist", row[0], top)
			}
			if sub != "" && !strings.Contains(sources, `"`+sub+`":`) {
				t.Errorf("%q names %s, which has no case %q", row[0], top, sub)
			}
		}
	}
	if len(rows) < 30 {
		t.Errorf("%d rows were read", len(rows))
	}
	for way := range ways() {
		if !named["TestEvasionMatrix/"+way] {
			t.Errorf("the way %q is in no row", way)
		}
	}
}

// tableRows returns the cells of a Markdown table that begins with a header.
func tableRows(text, header string) [][]string {
	_, table, _ := strings.Cut(text, "\n"+header+"\n")
	var rows [][]string
	for line := range strings.SplitSeq(table, "\n") {
		if !strings.HasPrefix(line, "|") {
			break
		}
		cells := strings.Split(strings.Trim(line, "|"), " | ")
		if strings.HasPrefix(line, "|---") || len(cells) != 3 {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows = append(rows, cells)
	}
	return rows
}

// testSources is the text of all tests of the agent.
func testSources(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		all.Write(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}
