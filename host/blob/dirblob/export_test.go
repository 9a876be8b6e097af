package dirblob

// UseNames makes every Put give its file a temporary name, as where files
// without one do not work.
func (s *Store) UseNames() { s.named.Store(true) }
