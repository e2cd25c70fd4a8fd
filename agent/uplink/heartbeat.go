package uplink

import (
	"context"
	"fmt"
	"time"

	"weightwarden/agent/identity"
	"weightwarden/internal/api"
)

// Heartbeat tells the server every interval how the agent is, until ctx ends.
// Answers go to answered; trouble to report, nil when things work again.
func (c *Client) Heartbeat(ctx context.Context, interval time.Duration, account func() api.Heartbeat,
	answered func(api.HeartbeatAnswer), report func(error)) {
	p := newPause(max(interval, time.Second))
	for ctx.Err() == nil {
		var answer api.HeartbeatAnswer
		err := c.post(ctx, api.PathHeartbeat, account(), &answer)
		if err != nil {
			if ctx.Err() == nil {
				report(fmt.Errorf("heartbeat: %w", err))
				p.wait(ctx, err)
			}
			continue
		}
		report(nil)
		p.reset()
		answered(answer)
		select {
		case <-ctx.Done():
		case <-time.After(interval):
		}
	}
}

// Renew gets a new certificate when two thirds of the old one's life are over.
func (c *Client) Renew(ctx context.Context, id *identity.Identity, report func(error)) {
	p := newPause(time.Hour)
	for ctx.Err() == nil {
		at, notAfter := id.RenewAt()
		if wait := time.Until(at); wait > 0 {
			select {
			case <-ctx.Done():
				return
			case <-time.After(min(wait, time.Hour)): // clocks jump; look again
				continue
			}
		}
		if err := c.renewOnce(ctx, id); err != nil {
			report(fmt.Errorf("certificate renewal (valid until %s): %w", notAfter.UTC().Format(time.RFC3339), err))
			p.wait(ctx, err)
			continue
		}
		report(nil)
		p.reset()
	}
}

func (c *Client) renewOnce(ctx context.Context, id *identity.Identity) error {
	key, csr, err := identity.NewRequest(id.AgentID)
	if err != nil {
		return err
	}
	var answer api.EnrollAnswer
	if err := c.post(ctx, api.PathRenew, api.RenewRequest{CSR: csr}, &answer); err != nil {
		return err
	}
	if err := id.Renewed(key, &answer); err != nil {
		return err
	}
	c.Reconnect()
	return nil
}
