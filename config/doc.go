// Package config reads the settings of SecureTag.
//
// They come in four layers; each overrides the one before it:
//
//	defaults < securetag.hcl < SECURETAG_* environment variables < flags
//
// The structs in config.go are the only description of a setting: their tags
// carry its name, meaning, range and example, and the file, the variables, the
// flags, the messages and docs/configuration.md all follow from them. To add a
// setting, add a field there and its default in [Default].
//
// Every layer is checked value by value as it is read, so that a mistake is
// reported where it was made: file, line and caret, or the variable's or the
// flag's name. koanf then lays the layers over each other, and what only shows
// in the whole (a scan type that names a plugin nobody declared) is checked
// last, still pointing at where each value came from. [Load] reports all
// mistakes at once, as an [*Error].
//
// The file is HCL 2 with a few functions and without loops, so reading it
// takes time and memory in proportion to its size, which is limited.
//
// A running host reads its configuration again by a second Load, and [Loaded.Take]
// says what of the result it can put in force: the tag reload of each setting
// says what needs a restart. The environment and the flags stay what they were.
package config
