package export

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"weightwarden/server/store"
)

// Sender carries messages from the outbox to their targets.
type Sender struct {
	Store *store.Store
	Log   *slog.Logger
	Now   func() time.Time
}

const (
	claimed   = 32
	lease     = 2 * time.Minute
	oneTry    = 15 * time.Second
	pollEvery = time.Second
)

// ErrPrivate is returned for a target that lies in a network it must not.
var ErrPrivate = errors.New("the address lies in a private network, which this target is not allowed")

// CheckTarget refuses a target that can never work.
func CheckTarget(t store.Target) error {
	u, err := url.Parse(t.URL)
	if err != nil || u.Host == "" || u.User != nil {
		return errors.New("url: want one with a host and without a password")
	}
	switch {
	case t.Kind == "webhook" && u.Scheme == "https" && t.Format != CEF:
	case t.Kind == "syslog" && u.Scheme == "tls" && u.Port() != "" && (t.Format == CEF || t.Format == OCSF || t.Format == ECS):
	default:
		return errors.New("want a webhook with https:// and format native, ocsf, ecs, slack, teams or pagerduty, or syslog with tls://HOST:PORT and format cef, ocsf or ecs")
	}
	if t.Format == PagerDuty && !routingKey(t.Secret) {
		return errors.New("routing_key: PagerDuty's integration key for the Events API v2 is wanted, 32 letters and digits")
	}
	if _, _, err := Render(t.Format, &Event{}); err != nil {
		return err
	}
	return nil
}

// routingKey reports whether a secret has the form of an integration key.
func routingKey(secret []byte) bool {
	if len(secret) != 32 {
		return false
	}
	for _, c := range secret {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}

// Run delivers until ctx ends. A message is delivered at least once.
func (s *Sender) Run(ctx context.Context) {
	t := time.NewTicker(pollEvery)
	defer t.Stop()
	for {
		n, err := s.Once(ctx)
		if err != nil && ctx.Err() == nil {
			s.Log.Error("outbox", "error", err)
		}
		if n == claimed && err == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// Once delivers what is due now and returns how many messages were tried.
func (s *Sender) Once(ctx context.Context) (int, error) {
	list, err := s.Store.ClaimDeliveries(ctx, claimed, lease)
	if err != nil {
		return 0, err
	}
	down := map[string]error{} // a target that failed is not tried again in this round
	for _, d := range list {
		failure := down[d.Target.ID]
		if failure == nil {
			if failure = s.deliver(ctx, d); failure != nil {
				down[d.Target.ID] = failure
			}
		}
		if ctx.Err() != nil {
			return len(list), nil // the lease runs out and another round takes it
		}
		if err := s.Store.SettleDelivery(ctx, d, failure); err != nil {
			return len(list), err
		}
	}
	return len(list), nil
}

func (s *Sender) deliver(ctx context.Context, d store.Delivery) error {
	ctx, cancel := context.WithTimeout(ctx, oneTry)
	defer cancel()
	e, err := s.event(ctx, d)
	if err != nil {
		return err
	}
	if d.Target.Format == PagerDuty {
		e.RoutingKey = string(d.Target.Secret)
	}
	body, mediaType, err := Render(d.Target.Format, e)
	if err != nil {
		return err
	}
	if d.Target.Kind == "syslog" {
		return s.syslog(ctx, d, e, body)
	}
	return s.webhook(ctx, d, body, mediaType)
}

func (s *Sender) event(ctx context.Context, d store.Delivery) (*Event, error) {
	e := &Event{Name: d.Event, Notice: d.Notice, Checkpoint: d.Checkpoint, Time: d.Created}
	if d.Checkpoint != nil {
		return e, nil
	}
	if d.Notice != nil {
		e.Alert.Severity = d.Notice.Severity // what syslog takes its level from
		return e, nil
	}
	alert, err := s.Store.Alert(ctx, d.Alert)
	if err != nil {
		return nil, err
	}
	e.Alert = alert
	if h, err := s.Store.Hit(ctx, alert.LastHit); err == nil {
		e.Hit = h.Body
	}
	return e, nil
}

// webhook signs as Standard Webhooks says: HMAC-SHA256 over "id.timestamp.body".
// https://www.standardwebhooks.com
func (s *Sender) webhook(ctx context.Context, d store.Delivery, body []byte, mediaType string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.Target.URL, bytes.NewReader(body))
	if err != nil {
		return err
	}
	stamp := fmt.Sprint(s.Now().Unix())
	req.Header.Set("Content-Type", mediaType)
	req.Header.Set("User-Agent", "weightwarden")
	req.Header.Set("webhook-id", d.ID)
	req.Header.Set("webhook-timestamp", stamp)
	if d.Target.Format != PagerDuty { // whose secret is in the body and signs nothing
		req.Header.Set("webhook-signature", "v1,"+Sign(d.Target.Secret, d.ID, stamp, body))
	}
	transport := &http.Transport{DialContext: dialer(d.Target).DialContext, DisableKeepAlives: true, TLSHandshakeTimeout: oneTry}
	c := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)); err != nil {
		return err
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("the target answered %s", resp.Status)
	}
	return nil
}

// Sign is the signature of a webhook, base64.
func Sign(secret []byte, id, timestamp string, body []byte) string {
	m := hmac.New(sha256.New, secret)
	fmt.Fprintf(m, "%s.%s.%s", id, timestamp, body)
	return base64.StdEncoding.EncodeToString(m.Sum(nil))
}

// syslog sends one RFC 5424 message over TLS with octet counting (RFC 5425). The
// protocol has no acknowledgement: what the network lost after the write is lost.
func (s *Sender) syslog(ctx context.Context, d store.Delivery, e *Event, body []byte) (err error) {
	u, err := url.Parse(d.Target.URL)
	if err != nil {
		return err
	}
	conn, err := (&tls.Dialer{NetDialer: dialer(d.Target), Config: &tls.Config{MinVersion: tls.VersionTLS12}}).DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	_, err = conn.Write(Syslog(e, body))
	return err
}

// Syslog frames a message: facility 13 (log audit), severity by the alert's.
func Syslog(e *Event, body []byte) []byte {
	level := []int{6, 2, 3, 4, 5}[min(max(e.Alert.Severity, 0), 4)]
	msg := fmt.Sprintf("<%d>1 %s - weightwarden - %s - %s", 13*8+level, e.Time.UTC().Format("2006-01-02T15:04:05.000Z"),
		strings.ReplaceAll(e.Name, ".", "-"), strings.ReplaceAll(string(body), "\n", " "))
	return fmt.Appendf(nil, "%d %s", len(msg), msg)
}

// dialer refuses addresses in private networks at the moment of connecting, after
// the name was resolved, so that no name server can smuggle one in.
func dialer(t store.Target) *net.Dialer {
	d := &net.Dialer{Timeout: oneTry}
	if !t.AllowPrivate {
		d.Control = func(_, address string, _ syscall.RawConn) error {
			ap, err := netip.ParseAddrPort(address)
			if err != nil {
				return err
			}
			if !public(ap.Addr().Unmap()) {
				return fmt.Errorf("%s: %w", ap.Addr(), ErrPrivate)
			}
			return nil
		}
	}
	return d
}

// unreachable are the networks that netip does not call private: by IANA's registries
// of special-purpose addresses not for the public, or ways by which an address of IPv6
// leads to any of IPv4.
var unreachable = prefixes("0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "198.18.0.0/15", "240.0.0.0/4",
	"::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/32", "2002::/16", "fec0::/10")

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range list {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

func public(a netip.Addr) bool {
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	return !slices.ContainsFunc(unreachable, func(p netip.Prefix) bool { return p.Contains(a) })
}
