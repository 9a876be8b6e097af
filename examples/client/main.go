// Command client uploads an archive to a SecureTag host, waits for the scan and
// prints what it found:
//
//	SECURETAG_API_KEY=stag_... client http://127.0.0.1:8080 app.tar.gz
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/securetaghq/securetag/api/client"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: client SERVER ARCHIVE")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := scan(ctx, os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func scan(ctx context.Context, server, archive string) error {
	c, err := client.New(server, os.Getenv("SECURETAG_API_KEY"), client.Options{})
	if err != nil {
		return err
	}
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	s, err := c.Upload(ctx, f, client.UploadOptions{Filename: filepath.Base(archive)})
	var refused *client.Error
	if errors.As(err, &refused) {
		return fmt.Errorf("the host refused it (%s): %s", refused.Code, refused.Detail)
	}
	if err != nil {
		return err
	}
	if s, err = c.Wait(ctx, s.ID, nil); err != nil {
		return err
	}
	for _, j := range s.Jobs {
		if j.Error != nil { // a failed plugin is never a clean result
			fmt.Printf("%s %s: %s\n", j.Plugin, j.State, j.Error.Message)
		}
	}
	for finding, err := range c.AllFindings(ctx, s.ID, client.FindingsQuery{}) {
		if err != nil {
			return err
		}
		fmt.Printf("%s %s:%d %s\n", finding.Severity, finding.Location.Path, finding.Location.StartLine, finding.Title)
	}
	fmt.Println(s.State)
	return nil
}
