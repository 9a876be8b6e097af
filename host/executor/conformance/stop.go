package conformance

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

func stopChecks() []check {
	return []check{
		must("stop.shutdown", started, "It ends within 2 seconds of Shutdown",
			"Serve plugin.GRPCController with the method Shutdown: answer, then clean up and exit.",
			guide("Other languages, step 4"), (*kit).endsOnShutdown),
		should("stop.sigterm", started, "It ends within 2 seconds of SIGTERM",
			"Do not ignore SIGTERM: init systems and containers send it.",
			guide("Other languages, step 9"), (*kit).endsOnSIGTERM),
		must("stop.host-death", started, "It ends by itself when its parent is gone",
			"Watch getppid, and exit when it changes: where the kernel does not, nobody else ends an orphan.",
			guide("Other languages, step 9"), (*kit).endsWithParent),
		must("stop.children", configured, "It leaves no process behind",
			"End and wait for every process you started, and start none in a session of its own.",
			guide("Rules of the contract, 12"), (*kit).leavesNobody),
	}
}

func (k *kit) refusesByHand(ctx context.Context) outcome {
	b, err := k.bare(bareByHand)
	if err != nil {
		return failed("it could not be started: %v", err)
	}
	defer b.end()
	if !b.ended(ctx, k.opts.StartTimeout) {
		return failed("without SECURETAG_PLUGIN it still runs after %s", k.opts.StartTimeout)
	}
	said := strings.TrimSpace(b.output())
	switch {
	case b.code() == 0:
		return failed("without SECURETAG_PLUGIN it exits with 0")
	case b.cmd.ProcessState.ExitCode() < 0:
		return failed("without SECURETAG_PLUGIN it is killed: %s", b.cmd.ProcessState)
	case strings.Contains(said, "|grpc"):
		return failed("without SECURETAG_PLUGIN it prints a handshake")
	case len(said) < 20:
		return failed("without SECURETAG_PLUGIN it says %s, which explains nothing", quote(said))
	case strings.Contains(said, "panic: ") || strings.Contains(said, "Traceback (most recent call last)"):
		return failed("without SECURETAG_PLUGIN it breaks: %s", quote(said))
	}
	return pass()
}

// cleanStdout looks at all that was written, not only after the handshake: by
// a process of its own, and by those that have scanned.
func (k *kit) cleanStdout(ctx context.Context) outcome {
	if k.descErr == nil && k.configErr == nil {
		if _, err := k.transcripts(ctx); err != nil {
			return k.trouble(err)
		}
	}
	if stray := k.strays.all(); len(stray) > 0 {
		return failed("a line after the handshake: %s", quote(stray[0]))
	}
	b, err := k.served(ctx, false)
	if err != nil {
		return k.trouble(err)
	}
	defer b.end()
	_ = b.shutdown(ctx)
	b.ended(ctx, k.opts.StopTimeout)
	if lines := strings.Split(strings.TrimSpace(b.stdout.String()), "\n"); len(lines) > 1 {
		return failed("a line after the handshake: %s", quote(lines[1]))
	}
	return pass()
}

func (k *kit) endsOnShutdown(ctx context.Context) outcome {
	b, err := k.served(ctx, false)
	if err != nil {
		return k.trouble(err)
	}
	defer b.end()
	callErr := b.shutdown(ctx)
	if b.ended(ctx, k.opts.StopTimeout) {
		return pass()
	}
	if callErr != nil {
		return failed("it runs on %s after Shutdown, which it answered with %s", k.opts.StopTimeout, grpcError(callErr))
	}
	return failed("it runs on %s after Shutdown", k.opts.StopTimeout)
}

func (k *kit) endsOnSIGTERM(ctx context.Context) outcome {
	b, err := k.served(ctx, false)
	if err != nil {
		return k.trouble(err)
	}
	defer b.end()
	_ = b.cmd.Process.Signal(syscall.SIGTERM)
	if !b.ended(ctx, k.opts.StopTimeout) {
		return failed("it runs on %s after SIGTERM", k.opts.StopTimeout)
	}
	return pass()
}

// endsWithParent starts the plugin below a shell and kills the shell.
func (k *kit) endsWithParent(ctx context.Context) outcome {
	if _, err := os.Stat(shell); err != nil {
		return notApplicable("there is no %s to start it below", shell)
	}
	b, err := k.served(ctx, true)
	if err != nil {
		return k.trouble(err)
	}
	defer b.end()
	_ = b.cmd.Process.Kill()
	within := k.opts.StopTimeout + k.opts.StopTimeout/2 // it may look once a second
	if !b.gone(ctx, within) {
		return failed("it runs on %s after its parent was killed", within)
	}
	return pass()
}

// leavesNobody scans, shuts the process down, and looks for what carries its
// marker.
func (k *kit) leavesNobody(ctx context.Context) outcome {
	b, err := k.served(ctx, false)
	if err != nil {
		return k.trouble(err)
	}
	defer b.end()
	if err := b.work(ctx); err != nil {
		return notApplicable("it cannot be used without the host: %v", err)
	}
	_ = b.shutdown(ctx)
	if !b.ended(ctx, k.opts.StopTimeout) {
		return notApplicable("it does not end on Shutdown")
	}
	began := time.Now()
	for {
		pids, ok := marked(b.marker)
		switch {
		case !ok:
			return notApplicable("this system does not tell")
		case len(pids) == 0:
			return pass()
		case time.Since(began) > k.opts.StopTimeout/4:
			return failed("%d processes are left: %s", len(pids), names(pids))
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return k.trouble(err)
		}
	}
}

// names says what the first processes are.
func names(pids []int) string {
	var all []string
	for _, pid := range pids[:min(len(pids), 3)] {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil {
			all = append(all, quote(strings.ReplaceAll(string(line), "\x00", " ")))
		}
	}
	return strings.Join(all, ", ")
}
