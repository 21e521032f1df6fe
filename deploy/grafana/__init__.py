"""Dashboards as code: `python -m deploy.grafana.build` writes them; Grafana provisions them."""
