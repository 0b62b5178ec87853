"""The native API below ``/api/v2``: the same operations with the field's own words and HTTP's own methods and codes."""
