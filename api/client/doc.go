// Package client talks to a SecureTag host. It uses the standard library only.
//
//	c, err := client.New("https://scans.example.com", key, client.Options{})
//	scan, err := c.Upload(ctx, archive, client.UploadOptions{Filename: "shop.zip"})
//	scan, err = c.Wait(ctx, scan.ID, nil)
//	for finding, err := range c.AllFindings(ctx, scan.ID, client.FindingsQuery{}) {
//	}
//
// Watch and WatchAll tell what happens as it happens; Wait uses them and asks
// again and again where it must.
//
// What the host refused is an [*Error] with its problem document; a host that
// could not be reached, or whose answer broke off, is a [*NetworkError].
// Reading is tried again a few times on both a broken network and a 5xx; what
// creates or changes something never is, because it may have happened.
package client
