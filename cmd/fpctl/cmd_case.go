package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"weightwarden/internal/cli"
)

// caseInfo is what fpctl shows of a case; --json prints all that the server says.
type caseInfo struct {
	ID         string    `json:"id"`
	Number     int64     `json:"number"`
	Title      string    `json:"title"`
	Phase      string    `json:"phase"`
	Severity   int       `json:"severity"`
	Vector     string    `json:"vector"`
	OwnerName  string    `json:"owner_name"`
	Resolution string    `json:"resolution"`
	Restricted bool      `json:"restricted"`
	Opened     time.Time `json:"opened"`
	Closed     time.Time `json:"closed"`
}

func (c caseInfo) ref() string { return fmt.Sprintf("WW-%d", c.Number) }

func (c caseInfo) phase() string {
	if !c.Closed.IsZero() {
		return "closed: " + c.Resolution
	}
	return c.Phase
}

func casesCommand() cli.Command {
	filters := map[string]string{"state": "`STATE`: open or closed", "phase": "only in this `PHASE`: detect, analyze, contain, eradicate, recover, lessons",
		"owner": "only of this `OWNER`", "q": "`TEXT` in title, subject or models"}
	severities := []string{"?", "critical", "high", "medium", "low"}
	return listCommand("cases", "list cases that you may know of, newest first", filters, lister[caseInfo]{path: "/v1/cases",
		header: []string{"CASE", "SEVERITY", "PHASE", "OWNER", "OPENED", "TITLE"}, row: func(c caseInfo) []string {
			return []string{c.ref(), severities[min(max(c.Severity, 0), 4)], c.phase(), c.OwnerName, clock(c.Opened), c.Title}
		}})
}

func kpisCommand() cli.Command {
	return cli.Command{Name: "kpis", Summary: "print the measures of the last days as JSON", Flags: func(fs *flag.FlagSet) func(context.Context, *cli.Env, []string) error {
		days := fs.Int("days", 30, "of the last `N` days")
		return func(ctx context.Context, env *cli.Env, _ []string) error {
			c, err := connect(env)
			if err != nil {
				return err
			}
			return c.print(ctx, env.Stdout, "/v1/kpis", url.Values{"days": {strconv.Itoa(*days)}})
		}
	}}
}

func caseReportCommand() cli.Command {
	return cli.Command{Name: "case report", Args: "CASE", Summary: "print the incident report of a case (WW-12)",
		Flags: func(fs *flag.FlagSet) func(context.Context, *cli.Env, []string) error {
			format := fs.String("format", "markdown", "`FORM`: markdown, html or json")
			return func(ctx context.Context, env *cli.Env, args []string) error {
				c, id, err := caseOf(ctx, env, args)
				if err != nil {
					return err
				}
				if env.JSON {
					*format = "json"
				}
				return c.print(ctx, env.Stdout, "/v1/cases/"+id+"/report", url.Values{"format": {*format}})
			}
		}}
}

func caseBundleCommand() cli.Command {
	return cli.Command{Name: "case bundle", Args: "CASE", Summary: "save the sealed evidence of a case (WW-12); 'fpcheck bundle verify' checks it",
		Flags: func(fs *flag.FlagSet) func(context.Context, *cli.Env, []string) error {
			out := fs.String("o", "", "`FILE` to write (WW-12-evidence.zip)")
			return func(ctx context.Context, env *cli.Env, args []string) error {
				c, id, err := caseOf(ctx, env, args)
				if err != nil {
					return err
				}
				if *out == "" {
					*out = args[0] + "-evidence.zip"
				}
				f, err := os.OpenFile(*out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
				if err != nil {
					return cli.Hint(err, "-o names another file")
				}
				if err := errors.Join(c.print(ctx, f, "/v1/cases/"+id+"/bundle", nil), f.Close()); err != nil {
					return errors.Join(err, os.Remove(*out))
				}
				fmt.Fprintf(env.Stdout, "%s\ncheck it: fpcheck bundle verify --key KEY %s   (KEY: snapshot_key of 'fpctl whoami --json')\n", *out, *out)
				return nil
			}
		}}
}

// caseOf finds the id behind WW-12.
func caseOf(ctx context.Context, env *cli.Env, args []string) (*client, string, error) {
	if len(args) != 1 {
		return nil, "", cli.Usagef("one CASE is wanted")
	}
	c, err := connect(env)
	if err != nil {
		return nil, "", err
	}
	var found caseInfo
	err = c.call(ctx, http.MethodGet, "/v1/cases/"+url.PathEscape(args[0]), nil, nil, &found)
	return c, url.PathEscape(found.ID), err
}

// print copies an answer as it is.
func (c *client) print(ctx context.Context, w io.Writer, path string, query url.Values) error {
	resp, err := c.do(ctx, http.MethodGet, path, query, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(w, resp.Body)
	return err
}
