package login

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/zalando/go-keyring"
)

// service is what the keyring files the secrets under.
const service = "securetag"

// ringPatience is how long a keyring may take, with a person who types the
// password that opens it.
const ringPatience = 2 * time.Minute

// SystemRing is the keyring of this user's session, or nil. On Linux it is
// reached over the session's bus; when the environment names none it is not
// looked for, since the library would start a bus of its own.
func SystemRing(getenv func(string) string) Ring {
	switch {
	case runtime.GOOS == "darwin", getenv("DBUS_SESSION_BUS_ADDRESS") != "":
		return systemRing{}
	}
	return nil
}

type systemRing struct{}

// call runs f, which cannot be interrupted, until ctx ends. Who gives up on it
// ends soon after, and f with the process.
func call(ctx context.Context, f func() error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, ringPatience, fmt.Errorf("the keyring did not answer within %v", ringPatience))
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (systemRing) Set(ctx context.Context, account, secret string) error {
	return call(ctx, func() error { return keyring.Set(service, account, secret) })
}

func (systemRing) Get(ctx context.Context, account string) (string, error) {
	secret := make(chan string, 1)
	err := call(ctx, func() error {
		s, err := keyring.Get(service, account)
		secret <- s
		return err
	})
	if err != nil {
		return "", err
	}
	return <-secret, nil
}

func (systemRing) Remove(ctx context.Context, account string) error {
	err := call(ctx, func() error { return keyring.Delete(service, account) })
	if errors.Is(err, keyring.ErrNotFound) {
		return nil
	}
	return err
}
