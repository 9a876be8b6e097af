package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/securetaghq/securetag/host"
)

// attempt sends a message once and says what came of it.
func (d *Deliverer) attempt(ctx context.Context, c host.DeliveryClaim) host.DeliveryOutcome {
	began := time.Now()
	req, err := d.request(c, began)
	if err != nil { // of what is in the row: no other attempt does better
		return host.DeliveryOutcome{State: host.DeliveryFailed, Error: err.Error()}
	}
	bounded, cancel := context.WithTimeout(ctx, d.cfg.Timeout)
	defer cancel()
	resp, err := d.client.Do(req.WithContext(bounded))
	took := time.Since(began)
	if err == nil {
		drain(resp, cancel)
	}
	if ctx.Err() != nil && err != nil {
		return host.DeliveryOutcome{State: host.DeliveryPending, Release: true}
	}
	o := d.judge(c, resp, err)
	o.Took = took
	return o
}

const (
	// drainBytes and drainTime bound what is read of an answer: some servers take
	// it for a fault when nobody listens. The status was the answer.
	drainBytes = 4 << 10
	drainTime  = time.Second
)

func drain(resp *http.Response, cancel context.CancelFunc) {
	stop := time.AfterFunc(drainTime, cancel)
	defer stop.Stop()
	_, _ = io.CopyN(io.Discard, resp.Body, drainBytes)
	_ = resp.Body.Close() // what is wrong with the rest of an answer is of no interest
}

// judge decides what becomes of a delivery and its webhook.
func (d *Deliverer) judge(c host.DeliveryClaim, resp *http.Response, err error) host.DeliveryOutcome {
	o := host.DeliveryOutcome{State: host.DeliveryPending, DisableAfter: d.cfg.DisableAfter}
	var asked time.Duration
	switch {
	case err != nil:
		var silent bool
		o.Error, silent = d.explain(err)
		if silent {
			o.Pause = slowPause
		}
		d.log.Debug("delivery failed", "delivery", c.ID, "webhook", c.WebhookID, "attempt", c.Attempts, "error", err)
	case resp.StatusCode >= 200 && resp.StatusCode < 300:
		return host.DeliveryOutcome{State: host.DeliveryDelivered, Status: resp.StatusCode}
	default:
		o.Status, o.Error = resp.StatusCode, fmt.Sprintf("the receiver answered %d", resp.StatusCode)
		asked = retryAfter(resp.Header)
	}
	switch {
	case o.Status == http.StatusGone:
		o.State, o.Disable = host.DeliveryFailed, "the receiver answered 410: it wants no more"
		return o
	case o.Status >= 300 && o.Status < 400:
		o.Error += ", a redirect, which is not followed: give the webhook the address that it leads to"
	case o.Status == http.StatusTooManyRequests, o.Status == http.StatusBadGateway,
		o.Status == http.StatusServiceUnavailable, o.Status == http.StatusGatewayTimeout:
		o.Pause = max(slowPause, asked)
	}
	if c.Attempts >= len(d.cfg.Schedule) {
		o.State = host.DeliveryFailed
		return o
	}
	next := d.cfg.Schedule[c.Attempts]
	o.Retry = max(next+rand.N(next/10+1), asked)
	return o
}

const (
	// slowPause is how long nothing is sent to a receiver that has too much to do.
	slowPause = time.Minute
	// maxAsked bounds what a receiver may ask for.
	maxAsked = time.Hour
)

// retryAfter is what a receiver asks for, in seconds or as a time; 0 for none.
func retryAfter(h http.Header) time.Duration {
	v := h.Get("Retry-After")
	if n, err := strconv.ParseInt(v, 10, 32); err == nil {
		return min(max(time.Duration(n)*time.Second, 0), maxAsked)
	}
	if at, err := http.ParseTime(v); err == nil {
		return min(max(time.Until(at), 0), maxAsked)
	}
	return 0
}

// explain says what went wrong in words for the tenant, who must not learn from
// them how the host's network looks, and whether the receiver was silent.
func (d *Deliverer) explain(err error) (text string, silent bool) {
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err // the rest repeats the URL
	}
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var timeout net.Error
	switch {
	case errors.Is(err, host.ErrInvalid):
		return err.Error(), false
	case errors.As(err, &dns) && dns.IsNotFound:
		return "the name of the host does not resolve", false
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Sprintf("there was no answer within %v", d.cfg.Timeout), true
	case errors.As(err, &dns):
		return "the name of the host cannot be resolved at present", false
	case errors.As(err, &cert):
		return "the certificate of the receiver is not good: " + cert.Err.Error(), false
	case errors.As(err, &record):
		return "the receiver does not speak TLS there", false
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the receiver refused the connection", false
	default:
		return "the connection to the receiver broke before there was an answer", false
	}
}

// message is the body of a webhook.
type message struct {
	Type      host.WebhookEvent `json:"type"`
	Timestamp time.Time         `json:"timestamp"`
	Data      any               `json:"data"`
}

// ended is a scan as GET /scans/{id} shows it, and shorter.
type ended struct {
	ID         host.ScanID `json:"id"`
	Type       string      `json:"type"`
	Project    string      `json:"project,omitempty"`
	State      host.State  `json:"state"`
	Counts     counts      `json:"counts"`
	CreatedAt  time.Time   `json:"created_at"`
	FinishedAt time.Time   `json:"finished_at"`
}

type counts struct {
	Critical int `json:"critical"`
	High     int `json:"high"`
	Medium   int `json:"medium"`
	Low      int `json:"low"`
	Info     int `json:"info"`
	Unknown  int `json:"unknown"`
}

// request makes the signed request of an attempt. The body is the same in each.
func (d *Deliverer) request(c host.DeliveryClaim, now time.Time) (*http.Request, error) {
	m := message{Type: c.Event, Timestamp: c.CreatedAt, Data: struct{}{}}
	if s := c.Scan; s.ID != "" {
		m.Data = ended{s.ID, s.Type, s.Project, s.State, counts(s.Counts), s.CreatedAt, s.FinishedAt}
	}
	body, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("write the message: %w", err)
	}
	signature, err := sign(c, now, body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequest(http.MethodPost, c.Webhook.URL, bytes.NewReader(body)) //nolint:noctx // the caller gives it one
	if err != nil {
		return nil, fmt.Errorf("the URL cannot be read: %w", host.ErrInvalid)
	}
	for name, value := range map[string]string{
		"Content-Type": "application/json", "User-Agent": d.cfg.UserAgent,
		"Webhook-Id": string(c.ID), "Webhook-Timestamp": strconv.FormatInt(now.Unix(), 10), "Webhook-Signature": signature,
	} {
		req.Header.Set(name, value)
	}
	return req, nil
}

// sign signs with the secret, and while it counts with the one before too.
func sign(c host.DeliveryClaim, now time.Time, body []byte) (string, error) {
	all := ""
	for _, secret := range []string{c.Webhook.Secret, c.Webhook.OldSecret} {
		if secret == "" {
			continue
		}
		signer, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			return "", errors.New("the secret of the webhook cannot be read: rotate it")
		}
		one, err := signer.Sign(string(c.ID), now, body)
		if err != nil {
			return "", fmt.Errorf("sign the message: %w", err)
		}
		if all != "" {
			all += " "
		}
		all += one
	}
	return all, nil
}
