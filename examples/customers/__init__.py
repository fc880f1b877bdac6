"""Customers: CSV files in folders by country, with updates; a declaration makes two tables of them."""
