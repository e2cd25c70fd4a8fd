package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"weightwarden/internal/api"
)

// Refusals of Enroll that Advice knows. Others are those of the network and of
// crypto/x509, which come wrapped.
var (
	ErrEnrolled  = errors.New("this machine is enrolled already")
	ErrPin       = errors.New("the server's certificate does not come from the CA that the token names")
	ErrServerURL = errors.New("no address of a server: want https://HOST:PORT")
)

// Refused is the answer of a server that does not enrol.
type Refused struct {
	Status int
	Text   string // for people, may be the server's words
}

// Error implements error.
func (r *Refused) Error() string { return fmt.Sprintf("the server refused (%d): %s", r.Status, r.Text) }

// Advice says what to do about an error of Enroll, for the person at the keyboard.
func Advice(err error) string {
	var refused *Refused
	switch {
	case errors.Is(err, ErrEnrolled):
		return "'fpagent status' says with which server; to enrol anew, stop the agent and move that file away first"
	case errors.Is(err, ErrServerURL):
		return "--server is the address that 'fpctl whoami' shows to administrators, such as https://weightwarden.example:8443"
	case errors.Is(err, api.ErrEnrolToken):
		return "'fpctl token new --enrol' prints the token once, as one word; copy it whole, or pass it with '--token -'"
	case errors.As(err, &refused):
		return refusedAdvice(refused.Status)
	}
	if text := certificateAdvice(err); text != "" {
		return text
	}
	return networkAdvice(err)
}

func refusedAdvice(status int) string {
	switch {
	case status == http.StatusForbidden || status == http.StatusUnauthorized:
		return "a token is good for as many machines and hours as it was made for; 'fpctl token list' shows what became of it, 'fpctl token new --enrol' makes another"
	case status == http.StatusNotFound || status == http.StatusMethodNotAllowed || status >= 300 && status < 400:
		return "something else answers there: --server is https://HOST:PORT without a path, the port 8443 unless fpserver was told otherwise"
	case status == http.StatusTooManyRequests || status >= 500:
		return "the server cannot do it now; the token is still good, try again in a minute"
	}
	return "the server did not understand: agent and server should be of the same release ('fpagent version', 'fpserver version')"
}

func certificateAdvice(err error) string {
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.Is(err, ErrPin):
		return "is --server the right one? Then the token was made by another server, or somebody is in between: " +
			"compare the pin with the one that fpserver prints when it starts ('CA pin'), and do not go on before they agree"
	case errors.As(err, &name):
		names := append([]string{}, name.Certificate.DNSNames...)
		for _, ip := range name.Certificate.IPAddresses {
			names = append(names, ip.String())
		}
		return fmt.Sprintf("the server's certificate is for %.300q: use one of these names, or start fpserver with --names %s", strings.Join(names, ", "), name.Host)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Sprintf("by this machine's clock it is %s: set it ('timedatectl set-ntp true'); if it is right, the server's clock is not", time.Now().UTC().Format(time.RFC3339))
	}
	return ""
}

func networkAdvice(err error) string {
	var dns *net.DNSError
	var dial *net.OpError
	var plain tls.RecordHeaderError
	switch {
	case errors.As(err, &dns):
		return "the name is not known on this machine: is --server spelled right, does 'getent hosts' know it?"
	case errors.As(err, &plain) || errors.Is(err, http.ErrSchemeMismatch) || strings.Contains(err.Error(), "tls: "):
		return "what answers there is not the server, or a proxy that opens connections: check the port, 8443 unless fpserver was told otherwise"
	case errors.Is(err, context.DeadlineExceeded) || errors.As(err, &dial) && dial.Timeout():
		return "nothing answered in time: a firewall, or a proxy that is missing (HTTPS_PROXY)"
	case errors.As(err, &dial):
		return "nothing listens there: check address and port; fpserver listens on 127.0.0.1:8443 until it is given --listen"
	}
	return "'fpctl token new --enrol' makes a token; 'fpagent help enroll' says how it is used"
}
