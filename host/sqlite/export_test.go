package sqlite

// PickOldScans must find what is old by an index, for the test that asks the
// planner.
const PickOldScans = pickOldScans
