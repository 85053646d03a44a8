"""What people and programs ask for. Each service takes the parts it uses; none imports the composition root."""
