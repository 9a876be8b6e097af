database {
  url = getenv("DATABASE_URL")
}
