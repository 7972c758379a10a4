//go:build tools

// Package traefik names the command the benchmark builds, so that `go mod tidy` keeps what it needs.
package traefik

import _ "github.com/traefik/traefik/v3/cmd/traefik"
