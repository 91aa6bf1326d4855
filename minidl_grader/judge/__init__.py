"""What is a submission worth? Code that is not trusted runs locked in; what it did is counted outside."""
