package main

import "github.com/securetaghq/securetag/sdk"

const mdn = "https://developer.mozilla.org/en-US/docs/Web/"

// rules are all kinds of findings. Their ids are kept: people's settings and old
// findings name them.
func rules() []sdk.Rule {
	rule := func(id, title string, severity sdk.Severity, cwe int, help, description, recommendation string) sdk.Rule {
		return sdk.Rule{ID: id, Title: title, Severity: severity, CWE: []int{cwe}, HelpURL: help, Description: description, Recommendation: recommendation, Tags: []string{"web"}}
	}
	return []sdk.Rule{
		rule("https-missing", "Site without https", sdk.High, 319, mdn+"Security/Practical_implementation_guides/TLS", "The site can be used over http.", "Serve it over https, and answer every request over http with a redirect there."),
		rule("hsts-missing", "No Strict-Transport-Security", sdk.Medium, 319, mdn+"HTTP/Reference/Headers/Strict-Transport-Security", "Browsers are not told to use https alone.", "Send Strict-Transport-Security: max-age=63072000 with every answer over https."),
		rule("hsts-short", "Strict-Transport-Security is short", sdk.Low, 319, mdn+"HTTP/Reference/Headers/Strict-Transport-Security", "Browsers soon forget to use https alone.", "Give a max-age of half a year at least."),
		rule("nosniff-missing", "No X-Content-Type-Options", sdk.Low, 693, mdn+"HTTP/Reference/Headers/X-Content-Type-Options", "Browsers may guess another type than the server says.", "Send X-Content-Type-Options: nosniff with every answer."),
		rule("framing-allowed", "Pages can be framed", sdk.Medium, 1021, mdn+"HTTP/Reference/Headers/Content-Security-Policy/frame-ancestors", "Another site can show this one in a frame and have people click on it unknowingly.", "Send Content-Security-Policy: frame-ancestors 'self', or 'none'."),
		rule("referrer-leaks", "URLs are told to other sites", sdk.Low, 200, mdn+"HTTP/Reference/Headers/Referrer-Policy", "The policy for referrers is less strict than browsers' own.", "Send Referrer-Policy: strict-origin-when-cross-origin, or stricter."),
		rule("csp-missing", "No Content-Security-Policy", sdk.Medium, 693, mdn+"HTTP/Guides/CSP", "Nothing limits injected scripts.", "Send a Content-Security-Policy that says where scripts may come from; begin with default-src 'self'."),
		rule("csp-inline-scripts", "Content-Security-Policy allows inline scripts", sdk.Medium, 693, mdn+"HTTP/Reference/Headers/Content-Security-Policy/script-src", "An injected script runs in spite of the policy.", "Take 'unsafe-inline' out of script-src, and give scripts a nonce or a hash."),
		rule("csp-eval", "Content-Security-Policy allows eval", sdk.Low, 693, mdn+"HTTP/Reference/Headers/Content-Security-Policy/script-src", "Text can become script.", "Take 'unsafe-eval' out of script-src."),
		rule("csp-broad-scripts", "Content-Security-Policy allows scripts from anywhere", sdk.Medium, 693, mdn+"HTTP/Reference/Headers/Content-Security-Policy/script-src", "The policy's sources of scripts are so broad that it limits little.", "Name the hosts from which scripts come, or use nonces with 'strict-dynamic'."),
		rule("csp-plugins", "Content-Security-Policy allows plugins", sdk.Low, 693, mdn+"HTTP/Reference/Headers/Content-Security-Policy/object-src", "Embedded objects are not limited.", "Add object-src 'none'."),
		rule("csp-base", "Content-Security-Policy does not limit <base>", sdk.Low, 693, mdn+"HTTP/Reference/Headers/Content-Security-Policy/base-uri", "An injected <base> changes where relative URLs lead.", "Add base-uri 'none', or 'self'."),
		rule("cookie-not-secure", "Cookie without Secure", sdk.Low, 614, mdn+"HTTP/Guides/Cookies", "The cookie is sent over http as well.", "Set Secure on every cookie."),
		rule("cookie-not-httponly", "Cookie without HttpOnly", sdk.Low, 1004, mdn+"HTTP/Guides/Cookies", "Scripts can read the cookie.", "Set HttpOnly on cookies that no script needs."),
		rule("cookie-no-samesite", "Cookie without SameSite", sdk.Low, 1275, mdn+"HTTP/Guides/Cookies", "The cookie may be sent with requests that other sites make.", "Set SameSite=Lax, or Strict."),
		rule("cookie-prefix", "Cookie breaks its prefix", sdk.Low, 614, mdn+"HTTP/Guides/Cookies", "A name that begins with __Host- or __Secure- promises attributes that are not there.", "Set Secure, and for __Host- Path=/ and no Domain."),
		rule("mixed-content", "Mixed content", sdk.Medium, 319, mdn+"Security/Mixed_content", "A page over https loads something over http.", "Load everything over https."),
		rule("script-no-integrity", "Script of another site without integrity", sdk.Low, 353, mdn+"Security/Subresource_Integrity", "The other site can change the script at any time.", "Add integrity and crossorigin attributes, or serve the script yourself."),
		rule("cors-any-origin", "Any site may read answers", sdk.Medium, 942, mdn+"HTTP/Guides/CORS", "The server allows whatever origin asks.", "Allow origins from a list, compared whole."),
		rule("form-over-http", "Form over http", sdk.Medium, 319, mdn+"Security/Insecure_passwords", "What people type goes over http, or the form came over it.", "Serve pages with forms over https and send them there."),
		rule("password-in-url", "Password in the URL", sdk.Medium, 598, mdn+"Security/Insecure_passwords", "A form sends a password with GET.", "Use method=\"post\"."),
		rule("version-disclosed", "Version in a header", sdk.Info, 200, mdn+"HTTP/Reference/Headers/Server", "Whoever looks for sites with a known weakness finds this one.", "Leave the version out of the header."),
		rule("stack-trace", "Stack trace in an answer", sdk.Medium, 209, "https://cwe.mitre.org/data/definitions/209.html", "Errors show code and paths.", "Show people an error page, and write the trace to a log."),
		rule("database-error", "Error of a database in an answer", sdk.Medium, 209, "https://cwe.mitre.org/data/definitions/209.html", "Errors show queries; often input reaches them unchecked.", "Show people an error page, and pass input as parameters of queries."),
		rule("debug-page", "Debug page", sdk.High, 489, "https://cwe.mitre.org/data/definitions/489.html", "The application runs in a mode for developers.", "Switch debugging off in production."),
		rule("secret-in-page", "Secret in a page", sdk.High, 200, "https://cwe.mitre.org/data/definitions/200.html", "A page or script has a credential in it.", "Revoke it, and keep it on the server."),
		rule("private-address", "Address of the inside in a page", sdk.Info, 200, "https://cwe.mitre.org/data/definitions/200.html", "An answer names an address of a private network.", "Leave it out, or use the public name."),
		rule("exposed-repository", "Repository exposed", sdk.High, 538, "https://cwe.mitre.org/data/definitions/538.html", "The source with its history can be fetched.", "Keep the directory out of what is served, and revoke what secrets its history has."),
		rule("exposed-settings", "Settings exposed", sdk.High, 538, "https://cwe.mitre.org/data/definitions/538.html", "A file with settings can be fetched.", "Keep it out of what is served, and revoke what secrets it has."),
		rule("exposed-key", "Private key exposed", sdk.Critical, 538, "https://cwe.mitre.org/data/definitions/538.html", "A private key can be fetched.", "Revoke it, and keep it out of what is served."),
		rule("exposed-backup", "Backup exposed", sdk.High, 530, "https://cwe.mitre.org/data/definitions/530.html", "A backup, a dump or the source of a page can be fetched.", "Keep it out of what is served."),
		rule("exposed-status", "Status page exposed", sdk.Medium, 200, "https://cwe.mitre.org/data/definitions/200.html", "A page for operators is open to everybody.", "Let it be asked for from inside alone."),
		rule("directory-listing", "Directory listing", sdk.Low, 548, "https://cwe.mitre.org/data/definitions/548.html", "The server lists the files of a directory.", "Switch listings off."),
		rule("open-redirect", "Open redirect", sdk.Medium, 601, "https://cwe.mitre.org/data/definitions/601.html", "A link to this site can lead to any other.", "Redirect to paths of the site alone, or to a list of sites."),
		rule("reflected-input", "Input comes back as HTML", sdk.High, 79, "https://cwe.mitre.org/data/definitions/79.html", "What a link says becomes part of the page (cross-site scripting).", "Escape what is put into a page, for the place where it is put."),
		rule("vulnerable-library", "Script with known vulnerabilities", sdk.Medium, 1395, "https://cwe.mitre.org/data/definitions/1395.html", "A script is a version of a library with advisories.", "Use the newest version."),
		rule("tls-certificate-expired", "Certificate expired", sdk.High, 298, mdn+"Security/Transport_Layer_Security", "The certificate is not valid now.", "Renew it, by a program."),
		rule("tls-certificate-expires", "Certificate expires soon", sdk.Low, 298, mdn+"Security/Transport_Layer_Security", "The certificate is valid for less than two weeks.", "Renew it, by a program."),
		rule("tls-certificate-name", "Certificate of another name", sdk.High, 297, mdn+"Security/Transport_Layer_Security", "The certificate is not for this host.", "Get one for every name under which the site is served."),
		rule("tls-certificate-untrusted", "Certificate not trusted", sdk.High, 295, mdn+"Security/Transport_Layer_Security", "No trusted authority has signed the certificate.", "Get one from an authority that browsers trust, and send the whole chain."),
		rule("tls-weak-key", "Weak key", sdk.Medium, 326, mdn+"Security/Transport_Layer_Security", "The key of the certificate is short.", "Use RSA with 2048 bits or ECDSA with 256, at least."),
		rule("tls-old-version", "Old version of TLS", sdk.Medium, 327, mdn+"Security/Transport_Layer_Security", "The server speaks TLS 1.0 or 1.1.", "Allow TLS 1.2 and 1.3 alone."),
		rule("tls-no-13", "No TLS 1.3", sdk.Info, 327, mdn+"Security/Transport_Layer_Security", "The server does not speak the newest version.", "Allow TLS 1.3."),
		rule("tls-weak-cipher", "Weak cipher suite", sdk.Medium, 327, mdn+"Security/Transport_Layer_Security", "The server takes a cipher suite without forward secrecy, or a broken one.", "Allow suites with ECDHE and AEAD alone."),
	}
}
