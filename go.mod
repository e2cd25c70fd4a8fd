module weightwarden

go 1.26
