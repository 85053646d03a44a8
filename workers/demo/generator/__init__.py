"""Makes the sample documents from their texts. Needs the test dependencies; nothing that serves imports it."""
