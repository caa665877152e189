"""What the project promises about speed, measured: a ring of VMs on the lab, and the start of the menu."""
