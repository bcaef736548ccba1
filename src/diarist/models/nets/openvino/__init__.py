"""Our graphs as models of OpenVINO; imported only where OpenVINO is used."""
