"""Adapter to the database servers; the only importer of aiomysql."""
