"""What next? Recoveries as data: phases that return steps, recorded one by one (design D1, D3.7)."""
