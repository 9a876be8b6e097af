scan "Code Audit" {
}
