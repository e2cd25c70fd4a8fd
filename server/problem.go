package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"weightwarden/internal/api"
	"weightwarden/server/auth"
	"weightwarden/server/cases"
	"weightwarden/server/store"
)

// problem is an error with the answer it becomes.
type problem struct {
	status     int
	detail     string
	hint       string
	retryAfter int // seconds; 0 for none
}

func (p *problem) Error() string { return fmt.Sprintf("%d: %s", p.status, p.detail) }

func refuse(status int, format string, args ...any) error {
	return &problem{status: status, detail: fmt.Sprintf(format, args...)}
}

// asProblem finds the answer for an error. What is not known to be the caller's
// matter says nothing of the inside.
func asProblem(err error) *problem {
	var p *problem
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &tooLarge):
		return &problem{status: http.StatusRequestEntityTooLarge, detail: fmt.Sprintf("the body is larger than %d bytes", tooLarge.Limit)}
	case errors.Is(err, store.ErrNotFound):
		return &problem{status: http.StatusNotFound, detail: err.Error()}
	case errors.Is(err, cases.ErrRefused):
		return &problem{status: http.StatusUnprocessableEntity, detail: err.Error()}
	case errors.Is(err, store.ErrConflict):
		return &problem{status: http.StatusConflict, detail: err.Error()}
	case errors.Is(err, store.ErrAuditDamaged):
		return &problem{status: http.StatusInternalServerError, detail: err.Error(), hint: "the database was changed past the server: keep it as it is, and compare with a backup"}
	case errors.Is(err, auth.ErrBusy):
		return &problem{status: http.StatusServiceUnavailable, detail: err.Error(), hint: "try again", retryAfter: 5}
	case errors.Is(err, store.ErrBusy), errors.Is(err, store.ErrClosed):
		return &problem{status: http.StatusServiceUnavailable, detail: "the server is overloaded or ends", hint: "try again", retryAfter: 5}
	case store.Unavailable(err):
		return &problem{status: http.StatusServiceUnavailable, detail: "the database cannot do this now; the server's log has the reason", hint: "try again", retryAfter: 5}
	}
	return &problem{status: http.StatusInternalServerError, detail: "something failed inside the server; its log has the reason"}
}

func writeProblem(w http.ResponseWriter, p *problem) {
	if p.retryAfter > 0 {
		w.Header().Set("Retry-After", fmt.Sprint(p.retryAfter))
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.status)
	_ = json.NewEncoder(w).Encode(api.Problem{Title: http.StatusText(p.status), Status: p.status, Detail: p.detail, Hint: p.hint}) // the client may be gone
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the client may be gone
	return nil
}

// Limits of request bodies. Two bytes of JSON can become a struct of a kilobyte, so
// what they hold is counted as well as their bytes: a batch of an agent has some
// thousand objects, and is halved by the agent where it has more.
const (
	maxBody     = 8 << 20
	maxOpenBody = 256 << 10 // on routes that ask nobody who he is
	maxDepth    = 40
	maxObjects  = 20_000 // objects and lists together
)

// strict and lenient say what readJSON does with unknown fields: people's typing
// errors are refused, newer agents are not.
const (
	strict  = true
	lenient = false
)

func readJSON(r *http.Request, v any, strictly bool) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if err := checkShape(body); err != nil {
		return err
	}
	if strictly {
		if hasNUL(body) {
			return refuse(http.StatusBadRequest, "body: a text has a NUL")
		}
		if err := decodeStrict(body, v); err != nil {
			return refuse(http.StatusBadRequest, "body: %v", err)
		}
		return nil
	}
	if err := json.Unmarshal(body, v); err != nil {
		return refuse(http.StatusBadRequest, "body: %v", err)
	}
	return nil
}

// hasNUL reports whether a text of a JSON body has the escape of NUL, the only way that
// JSON has to write it. An even number of backslashes before it is no escape.
func hasNUL(body []byte) bool {
	for at := 0; ; {
		i := bytes.Index(body[at:], []byte(`\u0000`))
		if i < 0 {
			return false
		}
		at += i
		before := len(body[:at]) - len(bytes.TrimRight(body[:at], `\`))
		if before%2 == 0 {
			return true
		}
		at++
	}
}

// checkShape refuses deep nesting before anything recurses into it, and more objects
// than any caller has before anything makes them.
func checkShape(body []byte) error {
	depth, objects, inString, escaped := 0, 0, false, false
	for _, c := range body {
		switch {
		case escaped:
			escaped = false
		case inString && c == '\\':
			escaped = true
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return refuse(http.StatusBadRequest, "body is nested deeper than %d", maxDepth)
			}
			if objects++; objects > maxObjects {
				return refuse(http.StatusRequestEntityTooLarge, "body has more than %d objects and lists", maxObjects)
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}
