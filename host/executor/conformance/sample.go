package conformance

import "strings"

// Secrets that are none, in pieces so that nobody who searches this repository
// for secrets finds any.
func secrets() []string {
	return []string{
		"AKIA" + "Q3EGRIZ7WT5KHJMN",
		"ghp_" + "x7Kp2mQ9vR4tL8wN3bY6cF1hJ5dS0gA2eZuV",
		"sk_live_" + "4eC39HqLyjWDarjtT1zdp7dcXk2m",
		"xoxb-" + "263594206564-2343594206574-FGqddMF8t08v8N7Oq4i57vs1",
		"Tr0ub4dor-" + "9xQz7Lk2",
	}
}

// pemBody is the middle of a private key that opens nothing.
const pemBody = "MIIEpAIBAAKCAQEA0m7T1zq4k9Qv2Xy8Lw3Rb6Nf5Hs1Jd0Gc7Pe4Ua9Zi2Oo6Km"

// fillSmall writes a part of the sample.
func fillSmall(b *builder) {
	s := secrets()
	b.file("deploy/prod.env", []byte("aws_access_key_id="+s[0]+"\nGITHUB_TOKEN="+s[1]+"\n"))
	b.file("src/billing.py", []byte("STRIPE = \""+s[2]+"\"\n\n\ndef run(request):\n    eval(request.args[\"q\"])\n"))
}

// fillSample writes a small project in which most scanners find something. With
// a mark it is in each of its files.
func fillSample(b *builder, mark string) {
	s := secrets()
	begin, end := "-----BEGIN RSA PRIVATE "+"KEY-----\n", "-----END RSA PRIVATE "+"KEY-----\n"
	files := map[string]string{
		"deploy/prod.env":   "aws_access_key_id=" + s[0] + "\nGITHUB_TOKEN=" + s[1] + "\n# " + mark + "\n",
		"deploy/server.pem": begin + strings.Repeat(pemBody+"\n", 8) + end,
		"deploy/Dockerfile": "FROM ubuntu:latest\nUSER root\nENV PASSWORD=" + s[4] + "\nRUN curl http://example.com/install.sh | sh\n# " + mark + "\n",
		"deploy/main.tf":    "resource \"aws_s3_bucket\" \"b\" {\n  acl = \"public-read\"\n}\n# " + mark + "\n",
		"src/billing.py": "import pickle, subprocess\n\n\nSTRIPE = \"" + s[2] + "\"\n\n\ndef run(request):\n" +
			"    eval(request.args[\"q\"])\n    subprocess.call(request.args[\"cmd\"], shell=True)\n" +
			"    return pickle.loads(request.data)  # " + mark + "\n",
		"src/db.js":         "const q = \"SELECT * FROM users WHERE id = \" + req.query.id; // " + mark + "\nconst slack = \"" + s[3] + "\";\n",
		"src/main.go":       "package main\n\nimport \"crypto/md5\"\n\nfunc main() {\n\t_ = md5.New() // TODO " + mark + "\n}\n",
		"src/Main.java":     "class Main {\n  static String password = \"" + s[4] + "\"; // " + mark + "\n}\n",
		"go.mod":            "module example.com/app\n\ngo 1.20\n\nrequire golang.org/x/crypto v0.1.0\n",
		"package.json":      "{\"name\": \"app\", \"version\": \"1.0.0\", \"dependencies\": {\"lodash\": \"4.17.4\"}}\n",
		"package-lock.json": "{\"name\": \"app\", \"lockfileVersion\": 3, \"packages\": {\"node_modules/lodash\": {\"version\": \"4.17.4\"}}}\n",
		"requirements.txt":  "django==2.0\nrequests==2.19.0\n",
		"README.md":         "# app\n\nNothing to see here. " + mark + "\n",
	}
	for name, text := range files {
		b.file(name, []byte(text))
	}
}
