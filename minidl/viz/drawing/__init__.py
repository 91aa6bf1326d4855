"""From shapes to plotly and SVG."""
