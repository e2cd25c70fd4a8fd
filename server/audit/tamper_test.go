package audit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"weightwarden/server/store"
	"weightwarden/server/store/storetest"
)

// tampered is a small log in a database, and a connection past the store.
type tampered struct {
	store *store.Store
	db    *sql.DB
	tree  tlog.Tree
	every int // how many bytes from one that is changed to the next
}

func smallLog(t *testing.T, driver, dsn string, cfg store.Config, every int) *tampered {
	t.Helper()
	s := storetest.Open(t, cfg)
	err := s.Write(t.Context(), func(ctx context.Context, tx *store.Tx) error {
		for i := range 9 {
			action := []string{"token.add", "case.open", "case.note"}[i%3]
			if err := tx.Audit(ctx, store.ServerActor(), action, fmt.Sprint("object-", i%2), map[string]any{"i": i}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	w := &tampered{store: s, db: db, every: every}
	if w.tree, err = s.AuditTree(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, err := Verify(t.Context(), s, w.tree); n != 9 || err != nil {
		t.Fatal(n, err)
	}
	return w
}

// found reports whether a look at the log, by somebody who never saw it, finds that
// it is not what it was.
func (w *tampered) found(t *testing.T, seen ...tlog.Tree) bool {
	t.Helper()
	tree, err := w.store.AuditTree(t.Context())
	if err == nil {
		_, err = Verify(t.Context(), w.store, tree, seen...)
	}
	if err != nil && !errors.Is(err, ErrTampered) && !errors.Is(err, store.ErrAuditDamaged) {
		t.Fatal(err)
	}
	return err != nil
}

// row is one row of a table, by its columns.
type row struct{ key, value any }

func (w *tampered) rows(t *testing.T, key, value, table string) []row {
	t.Helper()
	list, err := w.db.Query("SELECT " + key + ", " + value + " FROM " + table + " ORDER BY 1, 2")
	if err != nil {
		t.Fatal(err)
	}
	defer list.Close()
	var out []row
	for list.Next() {
		var r row
		if err := list.Scan(&r.key, &r.value); err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	if err := list.Err(); err != nil || len(out) == 0 {
		t.Fatal(len(out), err)
	}
	return out
}

// flips returns what a value can become by a change of one byte.
func flips(v any, every int) (out []any) {
	switch v := v.(type) {
	case int64:
		for b := 0; b < 8; b++ {
			out = append(out, v^1<<(8*b), v^0xff<<(8*b))
		}
	case []byte:
		for i := 0; i < len(v); i += every {
			c := append([]byte(nil), v...)
			c[i] ^= 1
			out = append(out, c)
		}
	case string:
		for i := 0; i < len(v); i += every {
			c := []byte(v)
			c[i] ^= 1
			out = append(out, string(c))
		}
	}
	return out
}

// change sets a column from one value to another where it can (another row may
// have the key), looks whether that is found, and sets it back.
func (w *tampered) change(t *testing.T, table, column, where string, from, to any, args ...any) (changed bool) {
	t.Helper()
	set := func(v any, where string, args ...any) int64 {
		res, err := w.db.Exec("UPDATE "+table+" SET "+column+" = $1 WHERE "+where, append([]any{v}, args...)...)
		if err != nil {
			return 0 // the key is another row's
		}
		n, err := res.RowsAffected()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if set(to, where, args...) != 1 {
		return false
	}
	if !w.found(t) {
		t.Errorf("%s of %s changed from %v to %v: not found", column, table, from, to)
	}
	back := args
	if column == "seq" || column == "id" || column == "case_id" {
		back = append([]any{to}, args[1:]...)
	}
	if set(from, where, back...) != 1 {
		t.Fatalf("%s of %s cannot be set back to %v", column, table, from)
	}
	return true
}

func (w *tampered) testBytes(t *testing.T) {
	n := 0
	for _, x := range []struct{ table, key, value string }{{"audit", "seq", "leaf"}, {"audit_hash", "id", "hash"}} {
		for _, r := range w.rows(t, x.key, x.value, x.table) {
			for _, to := range flips(r.key, w.every) {
				if w.change(t, x.table, x.key, x.key+" = $2", r.key, to, r.key) {
					n++
				}
			}
			for _, to := range flips(r.value, w.every) {
				if !w.change(t, x.table, x.value, x.key+" = $2", r.value, to, r.key) {
					t.Fatalf("%s of %s: no change", x.value, x.table)
				}
				n++
			}
		}
	}
	for _, r := range w.rows(t, "case_id", "seq", "case_audit") {
		for _, to := range flips(r.key, w.every) {
			if w.change(t, "case_audit", "case_id", "case_id = $2 AND seq = $3", r.key, to, r.key, r.value) {
				n++
			}
		}
		for _, to := range flips(r.value, w.every) {
			if w.change(t, "case_audit", "seq", "seq = $2 AND case_id = $3", r.value, to, r.value, r.key) {
				n++
			}
		}
	}
	if w.found(t) {
		t.Error("found a change after all were undone")
	}
	t.Logf("%d changes, every one found", n)
}

// undone lets fn change the database, looks whether that is found, and puts the
// tables back from copies that were made before.
func (w *tampered) undone(t *testing.T, name string, fn func() error, seen ...tlog.Tree) {
	t.Helper()
	exec := func(q string) {
		t.Helper()
		if _, err := w.db.Exec(q); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	tables := []string{"audit", "audit_hash", "case_audit"}
	for _, table := range tables {
		exec("CREATE TABLE kept_" + table + " AS SELECT * FROM " + table)
	}
	if err := fn(); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if !w.found(t, seen...) {
		t.Errorf("%s: not found", name)
	}
	for _, table := range tables {
		exec("DELETE FROM " + table)
		exec("INSERT INTO " + table + " SELECT * FROM kept_" + table)
		exec("DROP TABLE kept_" + table)
	}
	if w.found(t) {
		t.Fatalf("%s: still found after it was undone", name)
	}
}

func (w *tampered) testRows(t *testing.T) {
	run := func(queries ...string) func() error {
		return func() error {
			for _, q := range queries {
				if _, err := w.db.Exec(q); err != nil {
					return err
				}
			}
			return nil
		}
	}
	for _, x := range []struct{ table, key, value string }{{"audit", "seq", "leaf"}, {"audit_hash", "id", "hash"}, {"case_audit", "seq", "case_id"}} {
		for _, r := range w.rows(t, x.key, x.value, x.table) {
			w.undone(t, fmt.Sprint("row ", r.key, " of ", x.table, " deleted"), run(fmt.Sprintf("DELETE FROM %s WHERE %s = %d", x.table, x.key, r.key)))
		}
	}
	for i := range 8 {
		for _, x := range []struct{ table, key, value string }{{"audit", "seq", "leaf"}, {"audit_hash", "id", "hash"}} {
			w.undone(t, fmt.Sprint("rows ", i, " and next of ", x.table, " swapped"), run(
				fmt.Sprintf("UPDATE %[1]s SET %[2]s = -1 WHERE %[2]s = %[3]d", x.table, x.key, i),
				fmt.Sprintf("UPDATE %[1]s SET %[2]s = %[3]d WHERE %[2]s = %[4]d", x.table, x.key, i, i+1),
				fmt.Sprintf("UPDATE %[1]s SET %[2]s = %[3]d WHERE %[2]s = -1", x.table, x.key, i+1)))
		}
	}
	// The end cut off with its hashes leaves a whole, shorter log: only who saw the
	// longer one knows.
	cut := run("DELETE FROM audit WHERE seq = 8", fmt.Sprintf("DELETE FROM audit_hash WHERE id >= %d", tlog.StoredHashIndex(0, 8)), "DELETE FROM case_audit WHERE seq = 8")
	w.undone(t, "end cut off", cut, w.tree)
}

// Every byte of every column of the rows of the audit log, every deleted row and
// every two that change places are found by a look at the database alone; a log
// whose end is cut off by whoever saw an earlier checkpoint.
func TestAnyChangeOfTheDatabaseIsFound(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "a.db")
		w := smallLog(t, "sqlite", "file:"+path+"?_pragma=busy_timeout(10000)&_pragma=synchronous(OFF)", store.Config{Path: path}, 1)
		w.testBytes(t)
		w.testRows(t)
	})
	t.Run("postgres", func(t *testing.T) {
		url := storetest.Database(t, storetest.Postgres(t), "tampered")
		w := smallLog(t, "pgx", url, store.Config{URL: url}, 41)
		w.testBytes(t)
		w.testRows(t)
	})
}
