package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/headgate/headgate/config"
	"github.com/headgate/headgate/internal/redisstore"
	"github.com/headgate/headgate/internal/stores"
)

// checkJobs writes how durable the jobs of c are. It opens no file: a process
// that runs has it.
func checkJobs(w io.Writer, c config.Config) error {
	at, err := c.JobStore()
	if err != nil || at.None() || c.Jobs == "" {
		return err
	}
	if at.File != "" {
		fmt.Fprintf(w, "note: jobs: SQLite in %s: committed and synced before 202; nothing that was answered is lost\n", at.File)
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	jobs, err := redisstore.OpenJobs(stores.Redis(at.Redis, c.Namespace))
	if err != nil {
		return fmt.Errorf("jobs %s: %w", at, err)
	}
	defer jobs.Close()
	d, err := jobs.Durability(ctx)
	if err != nil {
		return fmt.Errorf("jobs %s: %w%s", at, err, tryInstead(at.Redis, err))
	}
	fmt.Fprintf(w, "note: jobs: %s %s at %s: %s\n", d.Facts.Server, d.Facts.Version, d.Facts.Addr, d.Promise)
	for _, warning := range d.Warnings {
		fmt.Fprintln(w, "warning: jobs:", warning)
	}
	return nil
}
