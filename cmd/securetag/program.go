package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/securetaghq/securetag/cmd/securetag/internal/report"
	"github.com/securetaghq/securetag/config"
	"github.com/securetaghq/securetag/internal/safetext"
)

// program is one run of the command: everything it touches of the process, so
// that tests can start it.
type program struct {
	version        string
	sums           map[string]string // of the plugins built with it, by name
	stdin          io.Reader
	stdout, stderr io.Writer
	environ        []string

	configPath string
}

// exitError ends the program with a code of its own; its message, if any, has
// been printed.
type exitError struct{ code int }

func (e *exitError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

// run runs one command line and returns the exit code.
func (p *program) run(ctx context.Context, args []string) int {
	root := p.rootCommand() //nolint:contextcheck // cobra hands the context to RunE
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var exit *exitError
	var bad *config.Error
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.code
	case errors.As(err, &bad):
		_ = bad.Write(p.stderr, p.terminal(p.stderr), p.width(p.stderr))
		return report.ExitUsage
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		fmt.Fprintln(p.stderr, "Interrupted.")
		return report.ExitInterrupted
	case errors.As(err, &usage):
		fmt.Fprintln(p.stderr, "Error: "+safetext.Plain(err.Error()))
		return report.ExitUsage
	default:
		fmt.Fprintln(p.stderr, "Error: "+safetext.Plain(err.Error()))
		return report.ExitCodeOf(err)
	}
}

func (p *program) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "securetag",
		Short: "Scan source archives and web targets with out-of-process plugins",
		Long: `securetag hosts scanners: it takes source archives and web targets, runs each
scan's plugins in processes of their own, and gives back findings.

With nothing configured everything runs in this one process: try
"securetag scan ." or "securetag serve".`,
		SilenceUsage: true, SilenceErrors: true,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(p.stdin)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())}
	})
	root.SetHelpCommand(helpCommand())
	root.PersistentFlags().StringVarP(&p.configPath, "config", "c", "", "configuration file (default ./securetag.hcl, then /etc/securetag/securetag.hcl)")
	addGroup(root, "Scan, here or on a server:", p.scanCommand(), p.scansCommand(), p.findingsCommand(), p.projectsCommand(),
		p.reportCommand(), p.webhooksCommand(), p.targetsCommand(), p.usageCommand(), p.loginCommand(), p.logoutCommand())
	addGroup(root, "Run hosts:", p.serveCommand(), p.configCommand(), p.tenantCommand(), p.keyCommand(), p.operatorCommand(),
		p.queueCommand(), p.quotaCommand(), p.auditCommand(), p.migrateCommand(), p.healthcheckCommand())
	addGroup(root, "Plugins:", p.pluginCommand())
	root.AddCommand(p.versionCommand(), p.manCommand())
	p.complete(root)
	return root
}

// addGroup adds the commands that help shows together, for one kind of user.
func addGroup(root *cobra.Command, title string, cmds ...*cobra.Command) {
	root.AddGroup(&cobra.Group{ID: title, Title: title})
	for _, c := range cmds {
		c.GroupID = title
		root.AddCommand(c)
	}
}

// usageError is a mistake on the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// args wraps cobra's checks of arguments so that they count as usage errors.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, a []string) error {
		if len(a) > 0 && cmd.HasAvailableSubCommands() {
			return unknownCommand(cmd, a[0])
		}
		if err := check(cmd, a); err != nil {
			return usageError{fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())}
		}
		return nil
	}
}

// unknownCommand says what was probably meant.
func unknownCommand(parent *cobra.Command, name string) error {
	parent.SuggestionsMinimumDistance = 2
	err := fmt.Errorf("unknown command %q for %q", name, parent.CommandPath())
	if like := parent.SuggestionsFor(name); len(like) > 0 {
		return usageError{fmt.Errorf("%w; did you mean %q? See %s --help", err, like[0], parent.CommandPath())}
	}
	return usageError{fmt.Errorf("%w; see %s --help", err, parent.CommandPath())}
}

// helpCommand is cobra's, except that a topic that does not exist is a mistake.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "Help about any command",
		RunE: func(cmd *cobra.Command, a []string) error {
			topic, rest, err := cmd.Root().Find(a)
			if topic == nil || err != nil || len(rest) > 0 && topic.HasAvailableSubCommands() {
				if topic == nil || len(rest) == 0 {
					topic, rest = cmd.Root(), a
				}
				return unknownCommand(topic, rest[0])
			}
			topic.InitDefaultHelpFlag()
			return topic.Help()
		},
	}
}

// load reads the configuration; flags made with config.AddFlag count.
func (p *program) load(cmd *cobra.Command) (*config.Loaded, error) {
	return p.loadWith(p.configOptions(cmd))
}

func (p *program) loadWith(opts config.Options) (*config.Loaded, error) {
	loaded, err := config.Load(opts)
	if err == nil {
		p.pinBuiltIns(loaded.Config.Plugins)
	}
	return loaded, err
}

func (p *program) configOptions(cmd *cobra.Command) config.Options {
	return config.Options{
		Path: p.configPath, Environ: p.environ, Flags: cmd.Flags(), KnownEnv: []string{envServer, envKey}, BuiltIn: p.builtIns(),
	}
}

// logger makes the process's logger. Log lines go to standard error.
func (p *program) logger(cfg config.Log) hclog.Logger {
	json := cfg.Format == "json" || cfg.Format == "auto" && !p.terminal(p.stderr)
	color := hclog.ColorOff
	if !json && p.terminal(p.stderr) {
		color = hclog.AutoColor
	}
	return hclog.New(&hclog.LoggerOptions{
		Name: "securetag", Level: hclog.LevelFromString(cfg.Level), Output: p.stderr, JSONFormat: json, Color: color,
	})
}

// terminal reports whether w is one.
func (p *program) terminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// width is that of the terminal behind w; 0 when there is none.
func (p *program) width(w any) int {
	if f, ok := w.(*os.File); ok {
		if n, _, err := term.GetSize(int(f.Fd())); err == nil {
			return n
		}
	}
	return 0
}

// getenv looks a variable up in the environment that the program was given.
func (p *program) getenv(name string) string {
	value, _ := p.lookupEnv(name)
	return value
}

// lookupEnv is getenv that tells what is empty from what is not set.
func (p *program) lookupEnv(name string) (string, bool) {
	for _, kv := range p.environ {
		if len(kv) > len(name) && kv[:len(name)] == name && kv[len(name)] == '=' {
			return kv[len(name)+1:], true
		}
	}
	return "", false
}
