"""What the programs about trust have in common: processes that are killed, disks that fail, files that are spoilt."""
