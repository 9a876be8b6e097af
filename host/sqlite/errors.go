package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"github.com/securetaghq/securetag/host"
)

// translate turns whatever the driver says into an error that wraps a sentinel
// of host, or the caller's own context error. The driver's error ends here:
// only its text goes on.
func translate(ctx context.Context, op string, err error) error {
	if cerr := ctx.Err(); cerr != nil {
		return fmt.Errorf("%s: %w", op, cerr)
	}
	for _, s := range []error{host.ErrNotFound, host.ErrConflict, host.ErrInvalid, host.ErrLeaseLost, host.ErrStale, host.ErrOverQuota} {
		if errors.Is(err, s) {
			return fmt.Errorf("%s: %w", op, err)
		}
	}
	if s := sentinel(err); s != nil {
		return fmt.Errorf("%s: %w: %s", op, s, err.Error())
	}
	return fmt.Errorf("%s: %s", op, err.Error())
}

func sentinel(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return host.ErrNotFound
	}
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		if errors.Is(err, sql.ErrConnDone) || err.Error() == "sql: database is closed" { // it has no sentinel of its own
			return host.ErrUnavailable
		}
		return nil
	}
	switch e.Code() {
	case lib.SQLITE_CONSTRAINT_UNIQUE, lib.SQLITE_CONSTRAINT_PRIMARYKEY, lib.SQLITE_CONSTRAINT_ROWID:
		return host.ErrConflict
	case lib.SQLITE_CONSTRAINT_FOREIGNKEY:
		return host.ErrNotFound
	}
	switch e.Code() & 0xff { // the primary code
	case lib.SQLITE_CONSTRAINT, lib.SQLITE_TOOBIG, lib.SQLITE_MISMATCH:
		return host.ErrInvalid
	case lib.SQLITE_BUSY, lib.SQLITE_LOCKED, lib.SQLITE_FULL, lib.SQLITE_IOERR, lib.SQLITE_CANTOPEN, lib.SQLITE_READONLY:
		return host.ErrUnavailable
	}
	return nil
}
