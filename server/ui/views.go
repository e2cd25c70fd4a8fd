package ui

import (
	"net/url"
	"strings"
	"unicode/utf8"

	"weightwarden/server/store"
)

// viewBar is a page's row of saved views.
type viewBar struct {
	Page    string // path
	Views   []store.View
	Query   string // what is shown now
	Current string // id of the view that is shown
	CSRF    string
}

// views reads the visitor's views of a page.
func (c *Console) views(v *visit, page string) (viewBar, error) {
	list, err := c.store.Views(v.r.Context(), v.who.ID, page)
	b := viewBar{Page: page, Views: list, Query: viewQuery(v.r.URL.RawQuery), CSRF: v.who.Session.CSRF}
	for _, x := range list {
		if x.Query == b.Query {
			b.Current = x.ID
		}
	}
	return b, err
}

// viewQuery is a query in one order and without the place in the list and empty
// fields, so that the same filter has the same text.
func viewQuery(raw string) string {
	q, err := url.ParseQuery(raw)
	if err != nil {
		return ""
	}
	q.Del("after")
	for k, list := range q {
		if len(list) == 1 && list[0] == "" {
			q.Del(k)
		}
	}
	return q.Encode()
}

func (c *Console) saveView(v *visit) error {
	x := store.View{Page: v.r.PostFormValue("page"), Name: strings.TrimSpace(v.r.PostFormValue("name")), Query: viewQuery(v.r.PostFormValue("query"))}
	if _, ok := c.paths[x.Page]; !ok || x.Name == "" || utf8.RuneCountInString(x.Name) > 60 || len(x.Query) > 4000 {
		return inputError("a view needs a name of at most 60 letters")
	}
	if err := c.store.SaveView(v.r.Context(), v.who.ID, x); err != nil {
		return err
	}
	return c.back(v, x.Page+"?"+x.Query)
}

func (c *Console) deleteView(v *visit) error {
	if err := c.store.DeleteView(v.r.Context(), v.who.ID, v.r.PathValue("id")); err != nil {
		return err
	}
	return c.back(v, v.r.PostFormValue("page"))
}
