"""What a comparison teaches: the x-ray, the report, and the generated documents."""
