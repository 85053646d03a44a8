"""WHAT happens to a document and to a question: pure functions over frozen records; no broker, no SQL, no HTTP."""
