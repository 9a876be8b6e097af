package sdk

// Redact makes a secret fit to be shown: "****", after the first four bytes
// when the secret is 20 bytes or longer, so that people can tell which key it
// is ("AKIA****"). Its length is not told.
func Redact(secret string) string {
	const shown, long = 4, 20
	if len(secret) < long {
		return "****"
	}
	return clean(secret, shown) + "****"
}
