"""Writes scores back to HubSpot, Salesforce or Dynamics 365, in batches that can be resumed."""
