package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/puddle/v2"

	"github.com/securetaghq/securetag/host"
)

// translate turns whatever the driver says into an error that wraps a sentinel
// of host, or the caller's own context error. The driver's error ends here:
// only its text goes on.
func translate(ctx context.Context, op string, err error) error {
	if cerr := ctx.Err(); cerr != nil {
		return fmt.Errorf("%s: %w", op, cerr)
	}
	if s := ours(err); s != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	if s := sentinel(err); s != nil {
		return fmt.Errorf("%s: %w: %s", op, s, err.Error())
	}
	return fmt.Errorf("%s: %s", op, err.Error())
}

// ours finds the sentinel that this package itself put into err.
func ours(err error) error {
	for _, s := range []error{host.ErrNotFound, host.ErrConflict, host.ErrInvalid, host.ErrLeaseLost, host.ErrStale, host.ErrUnavailable} {
		if errors.Is(err, s) {
			return s
		}
	}
	return nil
}

func sentinel(err error) error {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return byCode(pg.Code)
	}
	_, network := errors.AsType[net.Error](err)
	_, connect := errors.AsType[*pgconn.ConnectError](err)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return host.ErrNotFound
	case network, connect, pgconn.SafeToRetry(err), pgconn.Timeout(err),
		errors.Is(err, puddle.ErrClosedPool), errors.Is(err, net.ErrClosed),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, context.DeadlineExceeded): // this package's own bound: the caller's was looked at first
		return host.ErrUnavailable
	}
	return nil
}

// byCode reads an SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html
func byCode(code string) error {
	switch code {
	case "23505": // unique_violation
		return host.ErrConflict
	case "23503": // foreign_key_violation
		return host.ErrNotFound
	case "40001", "40P01", // serialization_failure, deadlock_detected: tried often enough
		"55P03", "57014", // lock_not_available, query_canceled
		"25006": // read_only_sql_transaction: a standby, after a failover
		return host.ErrUnavailable
	}
	switch {
	case strings.HasPrefix(code, "22"), strings.HasPrefix(code, "23"): // data exception, other integrity violations
		return host.ErrInvalid
	case strings.HasPrefix(code, "08"), strings.HasPrefix(code, "53"), // connection, resources
		strings.HasPrefix(code, "57P"), strings.HasPrefix(code, "58"): // operator intervention, system
		return host.ErrUnavailable
	}
	return nil
}

// worthRetrying reports whether the same operation may succeed at once, having
// certainly changed nothing this time.
func worthRetrying(err error) bool {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code == "40001" || pg.Code == "40P01"
	}
	if errors.Is(err, puddle.ErrClosedPool) {
		return false
	}
	// Safe means that nothing was sent: an idle connection that had died.
	return pgconn.SafeToRetry(err)
}
