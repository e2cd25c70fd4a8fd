package store

import (
	"context"
	"database/sql"
	"errors"
)

// mostMakers bounds how far the makers of a token are followed.
const mostMakers = 16

// personOf returns who acts as an actor: of a token that an account made, or a token of that account did, the account,
// since whoever makes a token knows its secret. The first token of a server, and those that it made, are each their own:
// where there are no accounts, tokens are people (docs/decisions/0515).
func (t *Tx) personOf(ctx context.Context, actor string) (string, error) {
	at := actor
	for range mostMakers {
		var maker string
		err := t.queryRow(ctx, "SELECT created_by FROM token WHERE id = ?", at).Scan(&maker)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			if at == ServerActor().ID {
				return actor, nil
			}
			return at, nil
		case err != nil:
			return "", err
		}
		at = maker
	}
	return actor, nil
}

// samePerson reports whether two actors are one person.
func (t *Tx) samePerson(ctx context.Context, a, b string) (bool, error) {
	if a == b {
		return true, nil
	}
	x, err := t.personOf(ctx, a)
	if err != nil {
		return false, err
	}
	y, err := t.personOf(ctx, b)
	return x == y, err
}

// second reports whether by is another person than the one that query finds; false, too, where it finds none.
func (t *Tx) second(ctx context.Context, by Actor, query string, args ...any) (bool, error) {
	var first string
	if err := t.queryRow(ctx, query, args...).Scan(&first); err != nil {
		if errors.Is(err, sql.ErrNoRows) {
			return false, nil
		}
		return false, err
	}
	same, err := t.samePerson(ctx, first, by.ID)
	return !same, err
}
