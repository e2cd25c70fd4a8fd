// Package archive holds what containers have in common: members that find their
// siblings, and sources that unpack when they are first read. The containers
// themselves are its sub-packages.
package archive
