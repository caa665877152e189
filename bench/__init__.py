"""The benchmark of the project's promises about speed: rings of VMs on the lab, and the start of the menu."""
