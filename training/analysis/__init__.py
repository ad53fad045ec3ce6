"""The analyses of a report: funnel, channels, offers, timing, accounts, drivers, and model quality."""
