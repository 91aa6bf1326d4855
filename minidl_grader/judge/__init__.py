"""What is a submission worth? Its code runs locked in; what it did is counted outside."""
