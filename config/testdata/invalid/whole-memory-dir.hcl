worker {
  memory_dir = "shm"
}
