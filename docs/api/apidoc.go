// Package apidoc has the OpenAPI document of the server, so that it can serve it
// and tests can hold it against the handlers.
package apidoc

import _ "embed" // for openapi.yaml

//go:embed openapi.yaml
var openAPI []byte

// OpenAPI returns the document, YAML.
func OpenAPI() []byte { return openAPI }
