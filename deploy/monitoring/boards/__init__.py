"""The dashboards, one a module; `make-dashboards` writes them as Grafana reads them."""
