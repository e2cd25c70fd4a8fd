package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Unavailable reports whether an error says that the database cannot do its work
// now, through no fault of the request: a full or failing disk, a database that is
// read-only, locked, away or starting. The same request may succeed later.
func Unavailable(err error) bool {
	var lite *sqlite.Error
	var pg *pgconn.PgError
	var connect *pgconn.ConnectError
	var network *net.OpError
	switch {
	case err == nil:
		return false
	case errors.As(err, &lite):
		switch lite.Code() & 0xff { // the rest of the bits say more of the same
		case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM,
			sqlite3.SQLITE_PROTOCOL:
			return true
		}
		return false
	case errors.As(err, &pg):
		// https://www.postgresql.org/docs/15/errcodes-appendix.html: connection exceptions, insufficient
		// resources, operator intervention (shutdown, start), system errors, read-only transaction, lock timeout.
		for _, class := range []string{"08", "53", "57P", "58", "25006", "55P03"} {
			if strings.HasPrefix(pg.Code, class) {
				return true
			}
		}
		return false
	}
	return errors.Is(err, ErrBusy) || errors.Is(err, ErrClosed) || errors.As(err, &connect) || errors.As(err, &network) || errors.Is(err, driver.ErrBadConn) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || pgconn.Timeout(err) && !errors.Is(err, context.Canceled)
}
