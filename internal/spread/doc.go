// Package spread keeps directories far apart on disk.
package spread
